-- What lies between the training steps of an epoch and those of the next, on the host: from the moment when the device, which
-- the loop waits for there, had done the last, to the start of the first.
-- pass_name: time or profile
-- epoch: the epoch that the gap follows
-- part: the phases in the gap; other is what none covers
-- ns: nanoseconds of the gap in this part
-- gap_ns: the whole gap; its parts sum to it exactly
WITH steps AS (
    SELECT pass_name, epoch, min(ts_ns) AS first_ns, max(ts_ns + dur_ns) AS last_ns
    FROM marks WHERE kind = 'step' AND complete GROUP BY ALL
),
waits AS (
    SELECT marks.pass_name, marks.epoch, min(ts_ns + dur_ns) AS done_ns
    FROM marks JOIN steps USING (pass_name, epoch)
    WHERE kind = 'phase' AND name = 'compute' AND step IS NULL AND ts_ns >= last_ns GROUP BY ALL
),
gaps AS (
    SELECT this.pass_name, this.epoch, coalesce(done_ns, this.last_ns) AS from_ns, next.first_ns AS to_ns
    FROM steps AS this JOIN steps AS next ON next.pass_name = this.pass_name AND next.epoch = this.epoch + 1
    LEFT JOIN waits ON waits.pass_name = this.pass_name AND waits.epoch = this.epoch
),
phases AS (
    SELECT gaps.pass_name, gaps.epoch, marks.name AS part, sum(marks.dur_ns)::BIGINT AS ns
    FROM gaps JOIN marks ON marks.pass_name = gaps.pass_name AND marks.kind = 'phase'
        AND marks.ts_ns >= from_ns AND marks.ts_ns + marks.dur_ns <= to_ns
    GROUP BY ALL
),
parts AS (
    SELECT * FROM phases
    UNION ALL
    SELECT gaps.pass_name, gaps.epoch, 'other',
        (to_ns - from_ns - coalesce((
            SELECT sum(ns) FROM phases WHERE phases.pass_name = gaps.pass_name AND phases.epoch = gaps.epoch
        ), 0))::BIGINT
    FROM gaps
)
SELECT parts.*, to_ns - from_ns AS gap_ns
FROM parts JOIN gaps USING (pass_name, epoch)
ORDER BY pass_name, epoch, ns DESC, part
