"""Why a map misses: figures of its peak, and figures and controls of the score that need no boxes."""
