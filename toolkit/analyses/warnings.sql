-- What the importers found that a reader must know.
-- trace: number of the trace; NULL where it concerns none
-- pass_name: time, profile or loop
-- code: what kind
-- count: how many events it concerns
-- message: one sentence
-- untrusted: whether it puts the figures in doubt
SELECT trace, pass_name, code, count, message, untrusted FROM warnings ORDER BY untrusted DESC, trace, code
