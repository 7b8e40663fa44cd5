/* Answers `cpuid` in place of the processor, without AVX-512, VNNI and what came with them, so that
   XNNPACK takes its kernels for AVX2: gcc -shared -fPIC hide.c -o hide.so */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

/* Bits of leaf 7 (Intel's manual, volume 2A, CPUID): AVX512F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI,
   VBMI2, VNNI, BITALG, VPOPCNTDQ; 4VNNIW, 4FMAPS, VP2INTERSECT, FP16; AMX in its three bits. */
enum { EBX0 = 0xdc230000, ECX0 = 0x00005842, EDX0 = 0x03c0010c };
/* AVX-VNNI and AVX512-BF16; AVX-VNNI-INT8, AVX-NE-CONVERT, AVX-VNNI-INT16, AVX10. */
enum { EAX1 = 0x00000030, EDX1 = 0x00080430 };

static int answers;

static void answer(int signal_number, siginfo_t *info, void *context) {
    greg_t *to = ((ucontext_t *)context)->uc_mcontext.gregs;
    unsigned leaf = (unsigned)to[REG_RAX], part = (unsigned)to[REG_RCX], a, b, c, d;
    (void)signal_number, (void)info;
    __cpuid_count(leaf, part, a, b, c, d);
    if (leaf == 7 && part == 0)
        b &= ~(unsigned)EBX0, c &= ~(unsigned)ECX0, d &= ~(unsigned)EDX0;
    if (leaf == 7 && part == 1)
        a &= ~(unsigned)EAX1, d &= ~(unsigned)EDX1;
    to[REG_RAX] = a, to[REG_RBX] = b, to[REG_RCX] = c, to[REG_RDX] = d;
    to[REG_RIP] += 2;
    answers++;
}

/* Put `ud2`, which is as long, in place of each `cpuid` of a loaded library, at these offsets from
   its start, and answer in its place. */
void hide(unsigned char *library, const long *offsets, int count) {
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    for (int i = 0; i < count; i++) {
        unsigned char *at = library + offsets[i];
        void *page = (void *)((uintptr_t)at & ~(uintptr_t)4095);
        if (memcmp(at, "\x0f\xa2", 2))
            continue;
        mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC);
        at[1] = 0x0b;
        mprotect(page, 8192, PROT_READ | PROT_EXEC);
    }
}

/* How often `cpuid` was answered. */
int asked(void) { return answers; }
