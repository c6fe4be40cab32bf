-- Sampler readings by epoch.
-- pass_name: time or profile
-- epoch: from 1; NULL for the whole pass
-- source: nvml or host
-- device: GPU index as text; NULL for the host
-- metric: power, rss, cpu, …
-- unit: of the figures
-- readings: how many
-- mean: mean of the readings
-- least: smallest reading
-- most: largest reading
WITH placed AS (
    SELECT counters.*, CASE WHEN counters.ts_ns < marks.ts_ns + marks.dur_ns THEN marks.epoch END AS in_epoch
    FROM counters ASOF LEFT JOIN (SELECT * FROM marks WHERE kind = 'epoch') AS marks
    ON counters.pass_name = marks.pass_name AND counters.ts_ns >= marks.ts_ns
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
