-- How long training steps follow each other: from the start of one to the start of the next of its epoch, so that what a
-- profiler does between them counts. Steps that compiled or traced a graph are left out.
-- pass_name: time, profile or loop
-- steps: steps counted
-- median_ns: median period, nanoseconds
WITH steps AS (
    SELECT pass_name, id, lead(ts_ns) OVER (PARTITION BY pass_name, epoch ORDER BY ts_ns) - ts_ns AS ns
    FROM marks WHERE kind = 'step' AND complete
)
SELECT pass_name, count(*) AS steps, quantile_disc(ns, 0.5) AS median_ns
FROM steps ANTI JOIN steps_that_compiled USING (pass_name, id) WHERE ns IS NOT NULL
GROUP BY pass_name ORDER BY pass_name
