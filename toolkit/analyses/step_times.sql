-- Training step durations on the host: on a GPU a step ends when its work is asked for, not when it is done. A step that compiled or traced a graph stands apart: it is no steady-state step.
-- pass_name: time or profile
-- epoch: from 1; NULL for all epochs together
-- steps: steps counted, those that compiled left out
-- compiled_steps: steps left out
-- median_ns: median duration, nanoseconds
-- p10_ns: 10th percentile
-- p90_ns: 90th percentile
WITH compiled AS (
    SELECT DISTINCT pass_name, parent AS id FROM marks WHERE kind = 'phase' AND name = 'compile'
),
steps AS (
    SELECT marks.*, compiled.id IS NOT NULL AS compiled
    FROM marks LEFT JOIN compiled USING (pass_name, id) WHERE kind = 'step' AND complete
)
SELECT
    pass_name, epoch,
    count(*) FILTER (NOT compiled) AS steps,
    count(*) FILTER (compiled) AS compiled_steps,
    quantile_disc(dur_ns, 0.5) FILTER (NOT compiled) AS median_ns,
    quantile_disc(dur_ns, 0.1) FILTER (NOT compiled) AS p10_ns,
    quantile_disc(dur_ns, 0.9) FILTER (NOT compiled) AS p90_ns
FROM steps
GROUP BY GROUPING SETS ((pass_name, epoch), (pass_name))
ORDER BY pass_name, epoch NULLS FIRST
