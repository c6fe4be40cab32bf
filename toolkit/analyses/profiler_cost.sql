-- What the native profiler costs: the same steps of the same epochs with it and without it. A step counts as its median on the
-- host and its share of the wait for the device, which a framework that does not wait in each step leaves to the end: of the
-- epoch, and of the profiler's window. Of a person's own loop, which has one pass, the steps within the window and those after it.
-- time_median_ns: a step of the time pass, or after the window, nanoseconds
-- profile_median_ns: a step in the profiled window
-- ratio: the second over the first
WITH steps AS (
    SELECT pass_name, id, epoch, step, ts_ns, dur_ns, compiled.id IS NULL AS steady
    FROM marks LEFT JOIN steps_that_compiled AS compiled USING (pass_name, id) WHERE kind = 'step' AND complete
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
),
own_steps AS (
    SELECT steps.*, ts_ns < to_ns AS profiled
    FROM steps, (SELECT DISTINCT from_ns, to_ns FROM profiled_steps) WHERE pass_name = 'loop' AND ts_ns >= from_ns
),
own_waits AS (
    SELECT sum(dur_ns) FILTER (ts_ns BETWEEN from_ns AND to_ns) AS within_ns,
        sum(dur_ns) FILTER (ts_ns > to_ns) AS after_ns
    FROM marks, (SELECT DISTINCT from_ns, to_ns FROM profiled_steps)
    WHERE pass_name = 'loop' AND kind = 'phase' AND name = 'compute' AND step IS NULL
),
own AS (
    SELECT
        quantile_disc(dur_ns, 0.5) FILTER (NOT profiled AND steady)
            + (coalesce((SELECT after_ns FROM own_waits), 0)
                // greatest(count(*) FILTER (NOT profiled), 1))::BIGINT AS time_median_ns,
        quantile_disc(dur_ns, 0.5) FILTER (profiled AND steady)
            + (coalesce((SELECT within_ns FROM own_waits), 0)
                // greatest(count(*) FILTER (profiled), 1))::BIGINT AS profile_median_ns
    FROM own_steps
)
SELECT *, profile_median_ns / time_median_ns AS ratio FROM (FROM whole UNION ALL FROM own)
WHERE time_median_ns IS NOT NULL AND profile_median_ns IS NOT NULL
