-- What lies between the training steps of an epoch and those of the next, on the host: from the moment when the device, which
-- the loop waits for there, had done the last, to the start of the first.
-- pass_name: time, profile or loop
-- epoch: the epoch that the gap follows
-- part: as in epoch_ledger
-- ns: nanoseconds of the gap in this part
-- gap_ns: the whole gap; its parts sum to it exactly
SELECT pass_name, epoch, part, sum(end_ns - start_ns)::BIGINT AS ns,
    max(max(end_ns)) OVER whole - min(min(start_ns)) OVER whole AS gap_ns
FROM @gap_spans
GROUP BY pass_name, epoch, part
WINDOW whole AS (PARTITION BY pass_name, epoch)
ORDER BY pass_name, epoch, ns DESC, part
