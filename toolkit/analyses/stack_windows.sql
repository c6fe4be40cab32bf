-- What Python did in each part of a run, as py-spy saw the worker's own thread: own time of each function in each phase,
-- between epochs (from an epoch's last training step to the next one's first, whatever phases lie there), and in each
-- stage. Only of stacks that a marker placed on the run's clock.
-- pass_name: time, profile or loop
-- kind: phase, gap or stage
-- name: of the phase or stage; `between epochs`
-- frame: function (file:line)
-- self_ns: own time of it there; together the time there in which py-spy saw the thread at work
WITH thread AS (
    SELECT DISTINCT trace, pass_name, thread FROM stacks WHERE frame LIKE 'hwprof_pyspy_marker (%'
        AND trace IN (SELECT trace FROM warnings WHERE code = 'stacks_placed')
),
frames AS (
    SELECT trace, pass_name, thread, depth, frame, ts_ns, ts_ns + dur_ns AS end_ns
    FROM stacks SEMI JOIN thread USING (trace, pass_name, thread) WHERE dur_ns > 0
),
-- each with the frame that called it, whose own time it is not
called AS (
    SELECT frames.*, callers.frame AS caller
    FROM frames ASOF LEFT JOIN frames AS callers ON frames.trace = callers.trace AND frames.thread = callers.thread
        AND frames.depth - 1 = callers.depth AND frames.ts_ns >= callers.ts_ns
),
steps AS (
    SELECT pass_name, epoch, min(ts_ns) AS first_ns, max(ts_ns + dur_ns) AS last_ns
    FROM marks WHERE kind = 'step' AND complete GROUP BY ALL
),
windows AS (
    SELECT pass_name, kind, name, start_ns AS from_ns, end_ns AS to_ns FROM own_stretches WHERE kind = 'phase'
    UNION ALL
    SELECT pass_name, kind, name, ts_ns, ts_ns + dur_ns FROM marks WHERE kind = 'stage' AND dur_ns > 0
    UNION ALL
    SELECT this.pass_name, 'gap', 'between epochs', this.last_ns, next.first_ns
    FROM steps AS this JOIN steps AS next ON next.pass_name = this.pass_name AND next.epoch = this.epoch + 1
),
within AS (
    SELECT called.pass_name, kind, name, frame, caller, least(end_ns, to_ns) - greatest(ts_ns, from_ns) AS ns
    FROM called JOIN windows ON called.pass_name = windows.pass_name AND ts_ns < to_ns AND end_ns > from_ns
),
own AS (
    SELECT pass_name, kind, name, frame, ns FROM within
    UNION ALL
    SELECT pass_name, kind, name, caller, -ns FROM within WHERE caller IS NOT NULL
)
SELECT pass_name, kind, name, frame, sum(ns)::BIGINT AS self_ns
FROM own GROUP BY ALL HAVING sum(ns) <> 0
ORDER BY pass_name, kind, name, self_ns DESC, frame
