-- Marked steps of a trace in which something was compiled, as JAX (backend_compile) and torch.compile (dynamo_timed) record it,
-- beside the usual step.
-- trace: number of the trace
-- step: number of the step
-- first: whether it is the first of the trace's
-- ns: duration on the host
-- usual_ns: median duration of those that did not compile; NULL where all did
-- compiling: the longest of what was compiled in it
WITH compilations AS (
    SELECT trace, name, ts_ns, coalesce(dur_ns, 0) AS dur_ns FROM slices
    WHERE kind IN ('op', 'annotation') AND (starts_with(name, 'backend_compile') OR ends_with(name, '(dynamo_timed)'))
),
steps AS (
    SELECT trace, step, host_start_ns, host_end_ns - host_start_ns AS ns,
        host_start_ns = min(host_start_ns) OVER (PARTITION BY trace) AS first
    FROM marked_steps
),
compiled AS (
    SELECT steps.trace, steps.host_start_ns, max_by(name, dur_ns) AS compiling
    FROM compilations ASOF JOIN steps ON compilations.trace = steps.trace AND compilations.ts_ns >= steps.host_start_ns
    WHERE compilations.ts_ns < steps.host_start_ns + ns GROUP BY ALL
),
beside AS (
    SELECT steps.*, compiling, quantile_disc(ns, 0.5) FILTER (compiling IS NULL) OVER (PARTITION BY steps.trace) AS usual_ns
    FROM steps LEFT JOIN compiled USING (trace, host_start_ns)
)
SELECT trace, step, first, ns, usual_ns, compiling FROM beside WHERE compiling IS NOT NULL ORDER BY trace, host_start_ns
