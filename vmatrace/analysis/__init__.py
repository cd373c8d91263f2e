"""Questions asked of replays: what differs, why, what it costs. No word of output."""
