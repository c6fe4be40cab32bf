-- What the worker had resident in the host's memory when each epoch ended: the sampler's last reading within it.
-- pass_name: time, profile or loop
-- epoch: from 1
-- bytes: resident set
SELECT marks.pass_name, marks.epoch, value::BIGINT AS bytes
FROM (SELECT *, ts_ns + dur_ns AS end_ns FROM marks WHERE kind = 'epoch' AND complete) AS marks
ASOF JOIN (SELECT * FROM counters WHERE source = 'host' AND metric = 'rss') AS readings
    ON marks.pass_name = readings.pass_name AND marks.end_ns >= readings.ts_ns
WHERE readings.ts_ns >= marks.ts_ns
ORDER BY marks.pass_name, marks.epoch
