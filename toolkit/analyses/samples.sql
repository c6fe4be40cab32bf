-- Sampler readings while the worker ran, by epoch. Readings before it are baseline's, the framework's own counters
-- framework_memory's.
-- pass_name: time, profile or loop
-- epoch: from 1; NULL for the whole pass
-- source: nvml or host
-- device: GPU index as text; NULL for the host
-- metric: power, rss, cpu, …
-- unit: of the figures
-- readings: how many
-- mean: mean of the readings
-- least: smallest reading
-- most: largest reading
WITH running AS (
    SELECT pass_name, min(ts_ns) AS start_ns FROM marks WHERE kind = 'run' GROUP BY pass_name
),
sampled AS (
    SELECT counters.* FROM counters LEFT JOIN running USING (pass_name)
    WHERE source IN ('nvml', 'host') AND unit <> 'bits' AND coalesce(counters.ts_ns >= start_ns, true)
),
placed AS (
    SELECT sampled.*, CASE WHEN sampled.ts_ns < marks.ts_ns + marks.dur_ns THEN marks.epoch END AS in_epoch
    FROM sampled ASOF LEFT JOIN (SELECT * FROM marks WHERE kind = 'epoch') AS marks
    ON sampled.pass_name = marks.pass_name AND sampled.ts_ns >= marks.ts_ns
),
placed_or_whole AS (
    SELECT * FROM placed WHERE in_epoch IS NOT NULL
    UNION ALL
    SELECT * REPLACE (NULL AS in_epoch) FROM placed
)
SELECT
    pass_name, in_epoch AS epoch, source, device, metric, any_value(unit) AS unit, count(*) AS readings,
    avg(value) AS mean, min(value) AS least, max(value) AS most
FROM placed_or_whole
GROUP BY pass_name, in_epoch, source, device, metric
ORDER BY pass_name, epoch NULLS FIRST, source, device, metric
