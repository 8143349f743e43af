"""How batches are fed to a backend: closed loop (offline)."""
