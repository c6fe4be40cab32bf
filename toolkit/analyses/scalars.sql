-- Losses (means over samples) and accuracies (0 to 1) as the worker reported them.
-- pass_name: time, profile or loop
-- epoch: from 1; 0 before training
-- name: train_loss, validation_loss, validation_accuracy, accuracy_before, accuracy_after
-- value: the figure; NULL where it was no number, as when training diverges
SELECT pass_name, epoch, name, CASE WHEN isfinite(value) THEN value END AS value FROM scalars ORDER BY pass_name, ts_ns
