"""From which wounds an organism heals, and how far: five cuts, half planes, holes, late fates."""
