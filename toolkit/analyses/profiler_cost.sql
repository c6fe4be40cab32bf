-- What the native profiler costs: the same steps of the same epochs with it and without it.
-- time_median_ns: median step of the time pass, nanoseconds
-- profile_median_ns: median step of the profile pass over its profiled window
-- ratio: the second over the first
WITH compiled AS (
    SELECT pass_name, parent AS id FROM marks WHERE kind = 'phase' AND name = 'compile'
),
steps AS (
    SELECT pass_name, epoch, step, dur_ns, ts_ns FROM marks ANTI JOIN compiled USING (pass_name, id)
    WHERE kind = 'step' AND complete
),
profiled AS (
    SELECT * FROM steps WHERE pass_name = 'profile'
        AND (epoch, step) IN (SELECT (epoch, step) FROM slices WHERE pass_name = 'profile' AND step IS NOT NULL)
),
paired AS (
    SELECT steps.dur_ns AS time_ns, profiled.dur_ns AS profile_ns
    FROM steps JOIN profiled USING (epoch, step) WHERE steps.pass_name = 'time'
),
medians AS (
    SELECT quantile_disc(time_ns, 0.5) AS time_median_ns, quantile_disc(profile_ns, 0.5) AS profile_median_ns FROM paired
)
SELECT *, profile_median_ns / time_median_ns AS ratio FROM medians WHERE time_median_ns IS NOT NULL
