-- Readings of the samplers over time, thinned: all of up to 400 of a metric; of more, the highest and lowest of each two-hundredth
-- of its time, and the first and last. So the extremes are exact.
-- pass_name: time, profile or loop
-- source: nvml or host
-- device: GPU index as text; NULL for the host
-- metric: power, rss, cpu, …
-- unit: of the value
-- readings: how many there are, drawn or not
-- ts_ns: when
-- value: the reading
WITH sampled AS (
    SELECT pass_name, source, device, metric, unit, ts_ns, value,
        row_number() OVER own AS place, count(*) OVER series AS readings,
        (ts_ns - min(ts_ns) OVER series)::HUGEINT * 200 // (max(ts_ns) OVER series - min(ts_ns) OVER series + 1) AS part
    FROM counters WHERE source IN ('nvml', 'host') AND unit <> 'bits' AND isfinite(value)
    WINDOW series AS (PARTITION BY pass_name, source, device, metric),
        own AS (PARTITION BY pass_name, source, device, metric ORDER BY ts_ns)
),
extremes AS (
    SELECT pass_name, source, device, metric,
        unnest([arg_max(place, (value, -place)), arg_min(place, (value, place))]) AS place
    FROM sampled WHERE readings > 400 GROUP BY pass_name, source, device, metric, part
),
kept AS (
    SELECT DISTINCT pass_name, source, coalesce(device, '') AS device, metric, place FROM extremes
)
SELECT sampled.pass_name, sampled.source, sampled.device, sampled.metric, unit, readings, ts_ns, value
FROM sampled LEFT JOIN kept ON sampled.pass_name IS NOT DISTINCT FROM kept.pass_name
    AND sampled.source = kept.source AND coalesce(sampled.device, '') = kept.device
    AND sampled.metric = kept.metric AND sampled.place = kept.place
WHERE readings <= 400 OR sampled.place IN (1, readings) OR kept.place IS NOT NULL
ORDER BY sampled.pass_name, sampled.source, sampled.device NULLS FIRST, sampled.metric, sampled.place
