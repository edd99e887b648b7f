"""Computations for many sessions on few cores: the engine, its queue, its caches, and the devices that it uses."""
