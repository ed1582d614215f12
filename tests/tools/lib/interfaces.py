# SPDX-License-Identifier: MIT
#
# interfaces.py: what test_interfaces.sh searches for in declarations. `interfaces.py TREE` prints one line for each fault:
#
#   swapped      two adjacent parameters of one type that a caller can exchange without an error of the compiler, unless
#                the function is listed below with the reason why that is no risk
#   predicate    a function named like a question (is_, has_, may_, can_; ..._idle) whose object is not const
#   register     a write to a register whose second argument is not an offset
#   member       `.n`, the member of an address type, outside of base/addr.h (no other struct has a member of that name)
import os
import re
import subprocess
import sys

# An integer is converted to any other silently, a pointer only to one of its own type.
INTEGERS = {'int', 'unsigned', 'long', 'size_t', 'uintptr_t', 'int16_t', 'int64_t', 'uint8_t', 'uint16_t', 'uint32_t',
            'uint64_t', 'domid_t', 'grant_ref_t', 'evtchn_port_t'}

ACCEPTED = {
    'symmetric': 'disks_are_one dgm_gfn_equal dgm_mfn_equal dgm_bus_equal dgm_text_equal range_overlaps dgm_partition_overlaps dma_min',
    'an order, as its name says: (a below b), (high, low), (text, prefix)':
        'dgm_gfn_below dgm_mfn_below dgm_gfn_diff dgm_mfn_diff dgm_bus_diff dgm_text_starts',
    'an ABI of Xen or of the entry code': 'dgm_hypercall dgm_arch_hypercall dgm_domctl kernel_main',
    '(device, offset, value), checked at each call below':
        'dgm_e1000e_write dgm_nvme_write dgm_pci_write16 dgm_pci_write32 dgm_sdhci_write dgm_sdhci_write16 dgm_sdhci_write8',
    "(tree, node, index), as libfdt's own": 'devtree_reg devtree_reg_ends devtree_bus_reg devtree_bus_interrupt',
    'the object first: a domain or an account, then a quantity of it': 
        'dgm_domain_set_pages_max dgm_domain_create dgm_domain_make_vcpus dgm_domain_set_table_pool dgm_xs_heap_room',
    '(first, count)': 'dgm_netback_copy_status',
    'an address, then the VLAN in which it is': 'dgm_switch_learnt',
    '(value, unit)': 'dma_round_down',
    'what is there, then what must fit it': 'dgm_pci_bars_fit',
    'it refuses the exchanged call: ip is 4 or 6, mss at least 88': 'dgm_packet_set_large',
    'one node or path, then the other, in the order of the comment': 'dgm_xs_node_after dgm_xs_node_twin dgm_xs_path_step',
    '(text, its bytes), then the account': 'dgm_xs_node_add',
    '(path, token), as in a message; (node, its path), then the name of a property': 'dgm_xs_watches_remove config_string config_choice',
}
ROOMS = 'include base hyper pages dma reach core drivers xenstore block net kernel'.split()
OTHERS = 'port sim tests fuzz proofs bench examples tools guest'.split()
NAMES = {name for names in ACCEPTED.values() for name in names.split()}


def code(path):
    with open(path, encoding='utf-8') as file:
        text = re.sub(r'/\*.*?\*/', '', file.read(), flags=re.S)
    return re.sub(r'^[ \t]*#(?:.*\\\n)*.*', '', text, flags=re.M)


def kind(parameter):
    match = re.match(r'(.*?[\s*])\w+(?:\[\])?$', parameter)
    if not match:
        return parameter
    of = ' '.join(match.group(1).replace('*', ' * ').split())
    return 'integer' if of in INTEGERS or of.replace('const ', '') in INTEGERS else of


def functions(text):
    for match in re.finditer(r'\b(\w+)\(((?:[^(){};]|\([^(){};]*\))*)\)\s*[;{]', text):
        yield match.group(1), [' '.join(p.split()) for p in match.group(2).split(',')]


def sources(tree, folders):
    for folder in folders:
        for directory, _, names in os.walk(f'{tree}/{folder}'):
            yield from (f'{directory}/{name}' for name in sorted(names) if name.endswith(('.c', '.h')))


def main():
    tree = sys.argv[1]
    files = subprocess.check_output(
        ['find'] + [f'{tree}/{room}' for room in ROOMS] +
        [f'{tree}/port/arch.h', f'{tree}/port/env.h', '-name', '*.[ch]'], text=True).split()
    declared = set()
    for path in sorted(files):
        text, where = code(path), path[len(tree) + 1:]
        if path.endswith('.h'):
            for name, parameters in functions(text):
                kinds = [kind(p) for p in parameters]
                same = [i for i in range(1, len(kinds)) if kinds[i] == kinds[i - 1] and kinds[i] != 'bool']
                declared.add(name)
                if same and name not in NAMES and name not in ('if', 'while', 'for', 'switch'):
                    print(f'{where}: {name}: "{parameters[same[0] - 1]}" and "{parameters[same[0]]}" can be exchanged')
        for name, first in re.findall(r'^(?:static )?(?:inline )?bool (\w+)\(([^,)]*)', text, flags=re.M):
            if re.search(r'(?:^|_)(?:is|has|may|can)_|_(?:allows|idle|waits|overlaps)$', name) \
                    and '*' in first and 'const' not in first:
                print(f'{where}: {name} asks a question, and its "{first}" is not const')
        for name, offset in re.findall(r'\b(dgm_(?:nvme|sdhci|e1000e|pci)_write\d*)\([\w&>.-]+, ([^,;]*),', text):
            if not re.search(r'[A-Z]+_[A-Z]|offset|base|doorbell', offset) or re.search(r'<<|~|\s[|&]\s', offset):
                print(f'{where}: {name}: "{offset}" is not the offset of a register')
    for path in sources(tree, ROOMS + OTHERS):
        if re.search(r'[\w)\]](?:\.|->)n\b', code(path)) and not path.endswith('include/dragoman/base/addr.h'):
            print(f'{path[len(tree) + 1:]}: uses the member of an address type')
    for name in sorted(NAMES - declared):
        print(f'{name} is accepted, and not declared')


main()
