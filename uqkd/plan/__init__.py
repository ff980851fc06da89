"""Planning (T12): how many responses, students, answers and prompts a standard error or a budget asks for.

- What did a pilot show? `components_of_draws`, `components_of_table`, `components_of_design`, `components_at_several_k`,
  `known_components`; all return `PilotComponents`
- What does a unit of each level cost? `Costs`
- What is best? `plan`, which returns a `Plan`: the best `Design`, its standard error with an interval, the curve around it
"""

from uqkd.plan.components import PilotComponents, known_components
from uqkd.plan.costs import Costs, Design
from uqkd.plan.pilots import (
    components_at_several_k,
    components_of_design,
    components_of_draws,
    components_of_table,
)
from uqkd.plan.planning import Plan, plan

__all__ = [
    "Costs",
    "Design",
    "PilotComponents",
    "Plan",
    "components_at_several_k",
    "components_of_design",
    "components_of_draws",
    "components_of_table",
    "known_components",
    "plan",
]
