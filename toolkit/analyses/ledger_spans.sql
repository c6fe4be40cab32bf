-- When each epoch was in which part of its ledger: of each mark, the stretches that none of the marks inside it covers. The
-- stretches of an epoch cover it without a hole and without an overlap.
-- pass_name: time, profile or loop
-- epoch: from 1
-- part: as in epoch_ledger
-- start_ns: start
-- end_ns: end
SELECT pass_name, epoch, CASE WHEN kind = 'phase' THEN name ELSE 'other' END AS part, start_ns, end_ns
FROM own_stretches SEMI JOIN (SELECT pass_name, epoch FROM marks WHERE kind = 'epoch') USING (pass_name, epoch)
WHERE kind IN ('epoch', 'step', 'phase')
ORDER BY pass_name, start_ns
