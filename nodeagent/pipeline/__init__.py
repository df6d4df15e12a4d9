"""Plant data to decisions: the file, the steps, the engine. numpy alone; no network, no disk, no clock of its own."""
