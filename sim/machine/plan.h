/* SPDX-License-Identifier: MIT */
/*
 * plan: the parts of plan_draw() (machine.h has the interface for other files)
 *
 * Each part draws from streams with its own name, or from the stream that it is given; so a change
 * of one part does not change the draws of the others.
 */
#ifndef SIM_MACHINE_PLAN_H
#define SIM_MACHINE_PLAN_H

#include <sim/machine/machine.h>

/* plan.c. Whether a fault of the whole run happens in this one. */
bool plan_draw_fault(struct rng *rng, const struct sim_plan *plan, enum sim_fault fault);
/* topology.c. The guests, their disks, and which of them stall; from the rates of faults. */
void plan_topology(struct sim_plan *plan, const struct sim_options *options);
/* Makes the whole plan for a victim and `count` neighbours, without faults. */
void plan_neighbours(struct sim_plan *plan, enum sim_neighbour neighbour, unsigned count);
unsigned plan_fronts_of(const struct sim_plan *plan, unsigned guest);

/* places.c. Where Xen can map a frame at gfn == mfn: neither over our RAM nor over the slots. */
void plan_places(struct sim_plan *plan, struct rng *rng);

#endif
