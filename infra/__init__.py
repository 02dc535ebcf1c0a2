"""Everything that touches the world: prompt sources, teachers, the run store, views, reports."""
