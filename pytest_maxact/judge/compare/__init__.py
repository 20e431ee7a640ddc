"""Two Records of one measurement on different weights: what changed, site by site and in the stream as a whole."""
