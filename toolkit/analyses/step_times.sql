-- Training step durations on the host: on a GPU a step ends when its work is asked for, not when it is done. A step that compiled or traced a graph stands apart: it is no steady-state step. So does, in a person's own loop, one that lay in the profiler's window.
-- pass_name: time, profile or loop
-- epoch: from 1; NULL for all epochs together
-- steps: steps counted, those that compiled or were profiled left out
-- compiled_steps: steps left out because they compiled
-- profiled_steps: steps left out because only they of their pass were profiled
-- median_ns: median duration, nanoseconds
-- p10_ns: 10th percentile
-- p90_ns: 90th percentile
WITH steps AS (
    SELECT marks.*, compiled.id IS NOT NULL AS compiled, profiled.id IS NOT NULL AS profiled
    FROM marks LEFT JOIN steps_that_compiled AS compiled USING (pass_name, id)
        LEFT JOIN profiled_steps AS profiled USING (pass_name, id)
    WHERE kind = 'step' AND complete
)
SELECT
    pass_name, epoch,
    count(*) FILTER (NOT compiled AND NOT profiled) AS steps,
    count(*) FILTER (compiled AND NOT profiled) AS compiled_steps,
    count(*) FILTER (profiled) AS profiled_steps,
    quantile_disc(dur_ns, 0.5) FILTER (NOT compiled AND NOT profiled) AS median_ns,
    quantile_disc(dur_ns, 0.1) FILTER (NOT compiled AND NOT profiled) AS p10_ns,
    quantile_disc(dur_ns, 0.9) FILTER (NOT compiled AND NOT profiled) AS p90_ns
FROM steps
GROUP BY GROUPING SETS ((pass_name, epoch), (pass_name))
ORDER BY pass_name, epoch NULLS FIRST
