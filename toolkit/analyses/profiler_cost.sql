-- What the native profiler costs: the same steps of the same epochs with it and without it. A step counts as its median on the
-- host and its share of the wait for the device, which a framework that does not wait in each step leaves to the end: of the
-- epoch, and of the profiler's window.
-- time_median_ns: a step of the time pass, nanoseconds
-- profile_median_ns: a step of the profile pass in its profiled window
-- ratio: the second over the first
WITH compiled AS (
    SELECT pass_name, parent AS id FROM marks WHERE kind = 'phase' AND name = 'compile'
),
steps AS (
    SELECT pass_name, epoch, step, ts_ns, dur_ns, compiled.id IS NULL AS steady
    FROM marks LEFT JOIN compiled USING (pass_name, id) WHERE kind = 'step' AND complete
),
recorded AS (
    SELECT epoch, step FROM slices WHERE pass_name = 'profile' AND step IS NOT NULL GROUP BY ALL
),
profiled AS (
    SELECT * FROM steps SEMI JOIN recorded USING (epoch, step) WHERE pass_name = 'profile'
),
spans AS (
    SELECT 'profile' AS pass_name, min(ts_ns) AS from_ns, (
        SELECT min(ts_ns) FROM steps WHERE pass_name = 'profile' AND ts_ns > (SELECT max(ts_ns) FROM profiled)
    ) AS to_ns, count(*) AS steps
    FROM profiled
    UNION ALL
    SELECT 'time', min(ts_ns), (
        SELECT min(ts_ns) FROM steps WHERE pass_name = 'time' AND epoch > (SELECT max(epoch) FROM profiled)
    ), count(*)
    FROM steps WHERE pass_name = 'time' AND epoch IN (SELECT epoch FROM profiled)
),
waits AS (
    SELECT spans.pass_name, coalesce(sum(dur_ns), 0)::BIGINT // any_value(spans.steps) AS ns
    FROM spans LEFT JOIN marks ON marks.pass_name = spans.pass_name AND kind = 'phase' AND name = 'compute'
        AND step IS NULL AND ts_ns >= from_ns AND ts_ns < coalesce(to_ns, 9223372036854775807)
    WHERE spans.steps > 0
    GROUP BY ALL
),
paired AS (
    SELECT steps.dur_ns AS time_ns, profiled.dur_ns AS profile_ns
    FROM steps JOIN profiled USING (epoch, step)
    WHERE steps.pass_name = 'time' AND steps.steady AND profiled.steady
),
whole AS (
    SELECT
        quantile_disc(time_ns, 0.5) + (SELECT ns FROM waits WHERE pass_name = 'time') AS time_median_ns,
        quantile_disc(profile_ns, 0.5) + (SELECT ns FROM waits WHERE pass_name = 'profile') AS profile_median_ns
    FROM paired
)
SELECT *, profile_median_ns / time_median_ns AS ratio FROM whole WHERE time_median_ns IS NOT NULL
