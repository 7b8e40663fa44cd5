/* A plugin for qemu-aarch64 (7.2 or newer) that prints, at each getppid, how many instructions the
   program has run, and how many of them were sdot or udot: gcc -shared -fPIC count.c -o count.so
   The declarations are those of qemu-plugin.h, API 1, which Debian does not package. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t id;
struct tb;
struct instruction;
enum operation { ADD_U64 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(id, void (*)(id, struct tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct tb *, enum operation, void *, uint64_t);
extern void qemu_plugin_register_vcpu_syscall_cb(
    id, void (*)(id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                 uint64_t, uint64_t));
extern size_t qemu_plugin_tb_n_insns(const struct tb *);
extern struct instruction *qemu_plugin_tb_get_insn(const struct tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct instruction *);

enum { GETPPID = 173 };

int qemu_plugin_version = 1;
static uint64_t instructions, products;

static int is_dot_product(uint32_t word) {
    /* Arm's manual: SDOT and UDOT, of vectors and by element. */
    return (word & 0x9fe0fc00) == 0x0e809400 || (word & 0x9fc0f400) == 0x0f80e000;
}

static void translated(id plugin, struct tb *block) {
    size_t count = qemu_plugin_tb_n_insns(block), dots = 0;
    (void)plugin;
    for (size_t i = 0; i < count; i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
        dots += (size_t)is_dot_product(word);
    }
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &instructions, count);
    if (dots)
        qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &products, dots);
}

static void called(id plugin, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c,
                   uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    (void)plugin, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == GETPPID)
        fprintf(stderr, "counted %llu %llu\n", (unsigned long long)instructions,
                (unsigned long long)products);
}

int qemu_plugin_install(id plugin, const void *machine, int argc, char **argv) {
    (void)machine, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(plugin, translated);
    qemu_plugin_register_vcpu_syscall_cb(plugin, called);
    return 0;
}
