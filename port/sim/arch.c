/* SPDX-License-Identifier: MIT */
/*
 * arch for hosted builds: hypercalls, MMIO and cache maintenance go to installed handlers
 *
 * A test, or the simulated machine, installs them with dgm_sim_attach(). Without a handler a
 * hypercall returns -ENOSYS and an MMIO access is a programmer error.
 */
#include <port/arch.h>
#include <port/sim/sim.h>

#include <assert.h>

static struct dgm_sim_machine machine;
void (*dgm_sim_barrier_hook)(void);

void dgm_sim_attach(const struct dgm_sim_machine *handlers)
{
    machine = handlers ? *handlers : (struct dgm_sim_machine){0};
}

void dgm_sim_at_barrier(void (*hook)(void))
{
    dgm_sim_barrier_hook = hook;
}

long dgm_arch_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                        uint64_t a5)
{
    if (!machine.hypercall)
        return -38; /* ENOSYS */
    return machine.hypercall(op, a1, a2, a3, a4, a5);
}

uint64_t dgm_sim_mmio_read(const volatile void *address, unsigned bytes)
{
    assert(machine.mmio_read);
    return machine.mmio_read((uintptr_t)address, bytes);
}

void dgm_sim_mmio_write(volatile void *address, uint64_t value, unsigned bytes)
{
    assert(machine.mmio_write);
    machine.mmio_write((uintptr_t)address, value, bytes);
}

void dgm_arch_cache_clean(const void *va, size_t bytes)
{
    if (machine.cache_clean)
        machine.cache_clean(va, bytes);
}

void dgm_arch_cache_clean_invalidate(const void *va, size_t bytes)
{
    if (machine.cache_clean_invalidate)
        machine.cache_clean_invalidate(va, bytes);
}

size_t dgm_arch_cache_line(void)
{
    return 64;
}
