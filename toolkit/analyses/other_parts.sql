-- What `other` of each epoch's ledger holds: what the loop does between its phases.
-- pass_name: time, profile or loop
-- epoch: from 1
-- inside_ns: inside steps, between their phases: the loop's own calls, the writing of marks, the freeing of what a step held
-- between_ns: between steps, and between the last of them, validation, callbacks and the epoch's end
WITH inside AS (
    SELECT parent AS id, pass_name, sum(dur_ns) AS ns FROM marks GROUP BY ALL
)
SELECT pass_name, epoch,
    coalesce(sum(dur_ns - coalesce(inside.ns, 0)) FILTER (kind = 'step'), 0)::BIGINT AS inside_ns,
    coalesce(sum(dur_ns - coalesce(inside.ns, 0)) FILTER (kind = 'epoch'), 0)::BIGINT AS between_ns
FROM marks LEFT JOIN inside USING (pass_name, id)
SEMI JOIN (SELECT pass_name, epoch FROM marks WHERE kind = 'epoch') USING (pass_name, epoch)
WHERE kind IN ('epoch', 'step')
GROUP BY pass_name, epoch
ORDER BY pass_name, epoch
