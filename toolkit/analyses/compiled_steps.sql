-- Training steps in which a graph was traced or compiled, beside the usual step of their pass.
-- pass_name: time, profile or loop
-- epoch: from 1
-- step: from 1 within its epoch
-- ns: duration
-- usual_ns: median duration of the steps of the pass that did not compile, and were not profiled where only some were; NULL where there are none
WITH steps AS (
    SELECT marks.*, compiled.id IS NOT NULL AS compiled, profiled.id IS NOT NULL AS profiled
    FROM marks LEFT JOIN steps_that_compiled AS compiled USING (pass_name, id)
        LEFT JOIN profiled_steps AS profiled USING (pass_name, id)
    WHERE kind = 'step' AND complete
),
usual AS (
    SELECT pass_name, quantile_disc(dur_ns, 0.5) FILTER (NOT compiled AND NOT profiled) AS usual_ns FROM steps GROUP BY ALL
)
SELECT pass_name, epoch, step, dur_ns AS ns, usual_ns
FROM steps JOIN usual USING (pass_name) WHERE compiled ORDER BY pass_name, epoch, step
