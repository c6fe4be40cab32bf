-- Where each epoch's wall time went on the host. The parts of an epoch sum to its wall time exactly: a part is the time
-- of its marks less the time of the marks inside them, and what no phase covers is `other`.
-- pass_name: time, profile or loop
-- epoch: from 1
-- part: data_wait, host_to_device, compile, compute, validation, callbacks, checkpoint, profiler, other
-- ns: nanoseconds of the epoch in this part
-- wall_ns: the epoch's whole duration
-- complete: false where the worker ended inside the epoch
WITH epochs AS (
    SELECT pass_name, epoch, dur_ns AS wall_ns, complete FROM marks WHERE kind = 'epoch'
),
inside AS (
    SELECT parent AS id, pass_name, sum(dur_ns) AS ns FROM marks GROUP BY ALL
)
SELECT
    pass_name, epoch,
    CASE WHEN marks.kind = 'phase' THEN marks.name ELSE 'other' END AS part,
    sum(marks.dur_ns - coalesce(inside.ns, 0))::BIGINT AS ns,
    any_value(wall_ns) AS wall_ns,
    any_value(epochs.complete) AS complete
FROM marks JOIN epochs USING (pass_name, epoch) LEFT JOIN inside USING (pass_name, id)
WHERE marks.kind IN ('epoch', 'step', 'phase')
GROUP BY pass_name, epoch, part
ORDER BY pass_name, epoch, ns DESC, part
