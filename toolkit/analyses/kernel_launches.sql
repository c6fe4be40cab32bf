-- The kernels of each launch: how long they ran where, and which call on which thread, in which step, asked for them.
-- Kernels whose launch the trace lacks stand together, a row a device.
-- trace: number of the trace
-- device: the number that the trace gives, as text
-- kernels: kernels that the call launched there
-- kernel_ns: sum of their durations; one of unknown duration lasts nothing
-- thread: process/thread of the call; NULL where the trace lacks it
-- launch_ns: start of the call; NULL where the trace lacks it
-- external_id: what the trace names as the operator that asked; NULL where it does not, or only repeats the correlation
-- step: number of the marked step (see profiler_steps) that the call lies in; NULL where it lies in none
WITH numbered AS (
    SELECT trace, coalesce(step_num, regexp_extract(name, '\d+$')::INTEGER) AS step, ts_ns AS step_ns, ts_ns + dur_ns AS step_end_ns,
        max(ts_ns + dur_ns) OVER (
            PARTITION BY trace ORDER BY ts_ns, dur_ns DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS reached_ns
    FROM slices
    WHERE kind IN ('op', 'annotation') AND dur_ns IS NOT NULL
        AND (step_num IS NOT NULL OR regexp_matches(name, '^ProfilerStep#\d{1,9}$'))
),
-- what marks a step within another one is part of that one
marked AS (
    SELECT * EXCLUDE (reached_ns) FROM numbered WHERE reached_ns IS NULL OR step_end_ns > reached_ns
),
kernels AS (
    SELECT trace, device, correlation, count(*) AS kernels, coalesce(sum(dur_ns), 0)::BIGINT AS kernel_ns
    FROM slices WHERE kind = 'kernel' AND device IS NOT NULL GROUP BY ALL
),
-- where a call of the runtime makes one of the driver under the same correlation, the outer one counts
calls AS (
    SELECT DISTINCT ON (trace, correlation)
        trace, correlation, thread, ts_ns AS launch_ns, ts_ns + coalesce(dur_ns, 0) AS launch_end_ns,
        nullif(external_id, correlation) AS external_id
    FROM (FROM slices WHERE kind = 'launch' AND correlation IS NOT NULL) SEMI JOIN kernels USING (trace, correlation)
    ORDER BY trace, correlation, ts_ns, dur_ns DESC
),
placed AS (
    SELECT calls.*, CASE WHEN launch_end_ns <= step_end_ns THEN step END AS step
    FROM calls ASOF LEFT JOIN marked ON calls.trace = marked.trace AND launch_ns >= step_ns
)
SELECT
    trace, device, sum(kernels)::BIGINT AS kernels, sum(kernel_ns)::BIGINT AS kernel_ns,
    thread, launch_ns, external_id, step
FROM kernels LEFT JOIN placed USING (trace, correlation)
GROUP BY trace, device, thread, launch_ns, external_id, step
ORDER BY trace, thread, launch_ns, device
