-- What this machine, this driver or this framework does not tell.
-- pass_name: time or profile
-- source: nvml, host, pyspy, or the framework
-- device: GPU index as text; NULL where it concerns them all
-- metric: what could not be had
-- reason: why, in the vendor's or the system's own words
SELECT DISTINCT pass_name, source, device, metric, reason FROM unavailable ORDER BY ALL
