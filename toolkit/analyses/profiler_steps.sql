-- The steps that the framework marked (PyTorch's ProfilerStep#n, or an annotation to which TensorFlow or JAX gave a step's
-- number), on the host, and when the device work launched in each ran.
-- trace: number of the trace
-- step: n
-- host_start_ns: start of the annotation
-- host_end_ns: end of the annotation
-- device_start_ns: start of the first device slice whose launch lies within the annotation; NULL where there is none
-- device_end_ns: end of the last of them
-- stray_end_ns: end of the last device slice that was launched in no step and ended before the first step's began; else NULL
WITH
-- one a correlation: in a trace where many share one, each pair of a call and a slice would be one too many
launches AS (
    SELECT launch.trace, correlation, CASE WHEN ts_ns + dur_ns <= host_end_ns THEN host_start_ns END AS host_start_ns
    FROM (
        SELECT DISTINCT ON (trace, correlation) trace, correlation, ts_ns, dur_ns
        FROM slices WHERE kind = 'launch' AND correlation IS NOT NULL ORDER BY trace, correlation, ts_ns, dur_ns DESC
    ) AS launch
    ASOF LEFT JOIN marked_steps AS marked ON marked.trace = launch.trace AND launch.ts_ns >= marked.host_start_ns
),
work AS (
    SELECT device.trace, host_start_ns, ts_ns AS start_ns, ts_ns + coalesce(dur_ns, 0) AS end_ns
    FROM (FROM slices WHERE kind IN ('kernel', 'memcpy', 'memset')) AS device LEFT JOIN launches USING (trace, correlation)
),
steps AS (
    SELECT marked.*, min(start_ns) AS device_start_ns, max(end_ns) AS device_end_ns
    FROM marked_steps AS marked LEFT JOIN work USING (trace, host_start_ns)
    GROUP BY ALL
),
first_steps AS (
    SELECT trace, min_by(device_start_ns, host_start_ns) AS device_start_ns FROM steps GROUP BY ALL
),
strays AS (
    SELECT trace, max(end_ns) AS stray_end_ns
    FROM work JOIN first_steps USING (trace) WHERE host_start_ns IS NULL AND end_ns < device_start_ns GROUP BY ALL
)
SELECT steps.*, stray_end_ns
FROM steps LEFT JOIN strays USING (trace)
ORDER BY trace, host_start_ns
