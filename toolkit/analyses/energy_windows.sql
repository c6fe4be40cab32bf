-- The windows of which energy is told. A phase has one of each of its marks; `training` is an epoch's training steps together,
-- from the start of the first to the moment when the device had done the last.
-- pass_name: time, profile or loop
-- kind: run stage epoch training phase step
-- name: which stage or phase; the kind otherwise
-- epoch: from 1; NULL outside
-- step: from 1 within its epoch; NULL for what is no step
-- steps: training steps in it; NULL for what is not training
-- ts_ns: start, ns of CLOCK_REALTIME
-- end_ns: end, ns of CLOCK_REALTIME
WITH training AS (FROM @training),
first_steps AS (
    SELECT pass_name, epoch, min(ts_ns) AS ts_ns FROM marks WHERE kind = 'step' AND complete GROUP BY ALL
)
SELECT pass_name, kind, CASE WHEN kind IN ('stage', 'phase') THEN name ELSE kind END AS name, epoch,
    CASE WHEN kind = 'step' THEN step END AS step, CASE WHEN kind = 'step' THEN 1 END AS steps,
    ts_ns, ts_ns + dur_ns AS end_ns
FROM marks WHERE complete AND dur_ns > 0 AND kind IN ('run', 'stage', 'epoch', 'phase', 'step')
UNION ALL
SELECT pass_name, 'training', 'training', epoch, NULL, steps, ts_ns, ts_ns + ns
FROM training JOIN first_steps USING (pass_name, epoch)
ORDER BY pass_name, kind, ts_ns
