-- When the loop was in which part between an epoch's training steps and the next one's: the gaps of epoch_gaps, each covered
-- without a hole and without an overlap.
-- pass_name: time, profile or loop
-- epoch: the epoch that the gap follows
-- part: as in epoch_ledger
-- start_ns: start
-- end_ns: end
WITH steps AS (
    SELECT pass_name, epoch, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, max(ts_ns + dur_ns) AS end_ns
    FROM marks WHERE kind = 'step' AND complete GROUP BY ALL
),
waits AS (
    SELECT marks.pass_name, marks.epoch, min(ts_ns + dur_ns) AS done_ns
    FROM marks JOIN steps USING (pass_name, epoch)
    WHERE kind = 'phase' AND name = 'compute' AND step IS NULL AND ts_ns >= end_ns GROUP BY ALL
),
gaps AS (
    SELECT this.pass_name, this.epoch, coalesce(done_ns, this.end_ns) AS from_ns, next.first_ns AS to_ns
    FROM steps AS this JOIN steps AS next ON next.pass_name = this.pass_name AND next.epoch = this.epoch + 1
    LEFT JOIN waits ON waits.pass_name = this.pass_name AND waits.epoch = this.epoch
),
epochs AS (
    SELECT pass_name, epoch, ts_ns, ts_ns + dur_ns AS end_ns FROM marks WHERE kind = 'epoch'
),
spans AS (
    SELECT pass_name, part, start_ns, end_ns FROM @ledger_spans
    UNION ALL
    SELECT this.pass_name, 'other', this.end_ns, next.ts_ns
    FROM epochs AS this JOIN epochs AS next ON next.pass_name = this.pass_name AND next.epoch = this.epoch + 1
),
clipped AS (
    SELECT gaps.pass_name, gaps.epoch, part, greatest(start_ns, from_ns) AS start_ns, least(end_ns, to_ns) AS end_ns
    FROM gaps JOIN spans ON spans.pass_name = gaps.pass_name AND start_ns < to_ns AND end_ns > from_ns
)
SELECT * FROM clipped WHERE start_ns < end_ns ORDER BY pass_name, start_ns
