-- How well each native trace lies on the run's clock. Every step and phase of a profiled pass is also an annotation in the
-- native trace, and must lie inside the worker's own two clock reads around it.
-- trace: number of the trace
-- pass_name: time, profile or loop
-- brackets: annotations found in the trace
-- missing: marks of the profiled window that have none
-- median_residual_ns: median of the larger distance between an annotation's ends and its mark's
-- worst_residual_ns: the largest
-- violations: annotations that begin before, or end after, their mark
-- worst_violation_ns: by how much, at worst; 0 where there are none
WITH annotations AS (
    SELECT trace, pass_name, ts_ns, dur_ns, regexp_extract(name, '^hwprof\.\w+\.(\d+)$', 1) AS mark
    FROM slices WHERE kind = 'annotation' AND name LIKE 'hwprof.%' AND dur_ns IS NOT NULL
),
matched AS (
    SELECT
        trace, pass_name, marks.ts_ns AS mark_ns,
        a.ts_ns - marks.ts_ns AS late_ns,
        marks.ts_ns + marks.dur_ns - a.ts_ns - a.dur_ns AS early_ns
    FROM annotations AS a JOIN marks USING (pass_name) WHERE a.mark = marks.id::VARCHAR AND complete
),
windows AS (
    SELECT pass_name, min(mark_ns) AS from_ns, max(mark_ns) AS to_ns FROM matched GROUP BY ALL
),
expected AS (
    SELECT pass_name, count(*) AS marks FROM windows JOIN marks USING (pass_name)
    WHERE kind IN ('step', 'phase', 'request') AND complete AND name <> 'profiler' AND ts_ns BETWEEN from_ns AND to_ns
    GROUP BY ALL
)
SELECT
    traces.trace, traces.pass_name, count(late_ns) AS brackets,
    coalesce(any_value(expected.marks), 0) - count(late_ns) AS missing,
    quantile_disc(greatest(abs(late_ns), abs(early_ns)), 0.5) AS median_residual_ns,
    max(greatest(abs(late_ns), abs(early_ns))) AS worst_residual_ns,
    count(*) FILTER (late_ns < 0 OR early_ns < 0) AS violations,
    greatest(max(-least(late_ns, early_ns)), 0) AS worst_violation_ns
FROM traces LEFT JOIN matched USING (trace, pass_name) LEFT JOIN expected USING (pass_name)
-- snapshots and stacks have no annotations
WHERE traces.pass_name IS NOT NULL AND traces.format IN ('kineto', 'xplane')
GROUP BY traces.trace, traces.pass_name
ORDER BY traces.trace
