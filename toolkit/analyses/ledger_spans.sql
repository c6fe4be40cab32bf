-- When each epoch was in which part of its ledger: of each mark, the stretches that none of the marks inside it covers. The
-- stretches of an epoch cover it without a hole and without an overlap.
-- pass_name: time, profile or loop
-- epoch: from 1
-- part: as in epoch_ledger
-- start_ns: start
-- end_ns: end
WITH own AS (
    SELECT marks.pass_name, marks.epoch, id, marks.ts_ns, marks.ts_ns + marks.dur_ns AS end_ns,
        CASE WHEN marks.kind = 'phase' THEN marks.name ELSE 'other' END AS part
    FROM marks JOIN (SELECT pass_name, epoch FROM marks WHERE kind = 'epoch') AS epochs USING (pass_name, epoch)
    WHERE marks.kind IN ('epoch', 'step', 'phase')
),
-- a mark is its own from its start on, and again from the end of each mark inside it
resumed AS (
    SELECT pass_name, id, ts_ns AS at_ns, ts_ns AS start_ns, 0 AS inner_id FROM own
    UNION ALL
    SELECT pass_name, parent, ts_ns, ts_ns + dur_ns, id FROM marks WHERE parent IS NOT NULL
),
stretches AS (
    SELECT own.pass_name, epoch, part, start_ns,
        lead(at_ns, 1, own.end_ns) OVER (
            PARTITION BY own.pass_name, own.id ORDER BY at_ns, inner_id > 0, start_ns, inner_id
        ) AS end_ns
    FROM own JOIN resumed USING (pass_name, id)
)
SELECT * FROM stretches WHERE start_ns < end_ns ORDER BY pass_name, start_ns
