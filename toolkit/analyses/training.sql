-- The training steps of each whole epoch together, from the start of the first to the moment when the device, which the
-- loop waits for there, had done the last. Throughput comes from here, for on a GPU a single step's mark ends when its work is
-- asked for, not when it is done.
-- pass_name: time, profile or loop
-- epoch: from 1
-- steps: training steps
-- compiled_steps: those of them that compiled or traced a graph
-- profiled_steps: those of them that lay in the profiler's window, of a pass that is not profiled otherwise
-- ns: nanoseconds
WITH steps AS (
    SELECT marks.pass_name, epoch, count(*) AS steps, count(compiled.id) AS compiled_steps,
        count(profiled.id) AS profiled_steps,
        min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, max(ts_ns + dur_ns) AS end_ns
    FROM marks LEFT JOIN steps_that_compiled AS compiled USING (pass_name, id)
        LEFT JOIN profiled_steps AS profiled USING (pass_name, id)
    WHERE kind = 'step' AND complete GROUP BY ALL
),
waits AS (
    SELECT marks.pass_name, marks.epoch, min(ts_ns + dur_ns) AS done_ns
    FROM marks JOIN steps USING (pass_name, epoch)
    WHERE kind = 'phase' AND name = 'compute' AND step IS NULL AND ts_ns >= last_ns GROUP BY ALL
)
SELECT steps.pass_name, epoch, steps, compiled_steps, profiled_steps,
    greatest(end_ns, coalesce(done_ns, end_ns)) - first_ns AS ns
FROM steps LEFT JOIN waits USING (pass_name, epoch)
SEMI JOIN (SELECT pass_name, epoch FROM marks WHERE kind = 'epoch' AND complete) USING (pass_name, epoch)
ORDER BY steps.pass_name, epoch
