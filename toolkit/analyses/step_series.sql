-- Each whole training step, in its order. On a GPU a step ends on the host when its work is asked for: what the epoch's
-- end waits for the device is shared out over the epoch's steps.
-- pass_name: time, profile or loop
-- epoch: from 1
-- step: from 1 within its epoch
-- host_ns: duration on the host, nanoseconds
-- wait_ns: its share of the wait for the device at the end of its epoch, nanoseconds
-- compiled: whether it compiled or traced a graph
-- profiled: whether it lay in the profiler's window, of a pass that is not profiled otherwise
WITH steps AS (
    SELECT marks.pass_name, epoch, step, ts_ns, dur_ns, compiled.id IS NOT NULL AS compiled,
        profiled.id IS NOT NULL AS profiled
    FROM marks LEFT JOIN steps_that_compiled AS compiled USING (pass_name, id)
        LEFT JOIN profiled_steps AS profiled USING (pass_name, id)
    WHERE kind = 'step' AND complete
),
waits AS (
    SELECT pass_name, epoch, (any_value(ns) - (max(ts_ns + dur_ns) - min(ts_ns))) // count(*) AS wait_ns
    FROM steps JOIN @training AS training USING (pass_name, epoch) GROUP BY ALL
)
SELECT pass_name, epoch, step, dur_ns AS host_ns, coalesce(wait_ns, 0) AS wait_ns, compiled, profiled
FROM steps LEFT JOIN waits USING (pass_name, epoch)
ORDER BY pass_name, epoch, ts_ns
