-- Where each epoch waited for data: in its steps, for the next batch, and around them, for the pipeline to start and to end.
-- pass_name: time, profile or loop
-- epoch: from 1
-- in_steps_ns: waiting within steps
-- around_ns: waiting outside of them
SELECT pass_name, epoch,
    coalesce(sum(end_ns - start_ns) FILTER (step IS NOT NULL), 0)::BIGINT AS in_steps_ns,
    coalesce(sum(end_ns - start_ns) FILTER (step IS NULL), 0)::BIGINT AS around_ns
FROM own_stretches SEMI JOIN (SELECT pass_name, epoch FROM marks WHERE kind = 'epoch') USING (pass_name, epoch)
WHERE kind = 'phase' AND name = 'data_wait'
GROUP BY pass_name, epoch
ORDER BY pass_name, epoch
