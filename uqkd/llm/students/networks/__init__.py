"""Networks of students: where they begin, adapters, likelihoods, frozen layers."""
