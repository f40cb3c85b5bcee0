// Loaded by every test file: what it starts writes no coverage. A program that a test kills while it writes some leaves half a file,
// and the runner then reports none at all.
delete process.env.NODE_V8_COVERAGE;
