// A plugin of QEMU's user emulation: how often each block of instructions ran during one inference.
//
//   gcc -O2 -shared -fPIC -o counter.so counter.c
//   qemu-aarch64 -plugin counter.so,out=FILE -d plugin PROGRAM
//
// The program says what to count by getpriority(MAGIC, number), a system call that does nothing else, as no such kind of
// priority exists: 0 forgets all that was counted, another number appends it to FILE:
//
//   mark NUMBER
//   EXECUTIONS ADDRESS INSTRUCTION INSTRUCTION ...        one line a block; the last two in hex, bytes as they lie in memory
//
// For QEMU 7.2 (version 1 of its interface), and programs that compute in one thread. What is used of qemu-plugin.h is
// declared here, since Debian has no package of it.
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MAGIC 0x4C52  // guest.py's
#define BUCKETS 65536
#define LONGEST 16  // bytes of an instruction; x86 has up to 15

typedef uint64_t Id;
typedef struct qemu_plugin_tb Block;
typedef struct qemu_plugin_insn Instruction;
typedef void OnTranslation(Id, Block *);
typedef void OnCall(Id, unsigned cpu, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                    uint64_t);
enum { ADD = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(Id, OnTranslation *);
void qemu_plugin_register_vcpu_syscall_cb(Id, OnCall *);
void qemu_plugin_register_vcpu_tb_exec_inline(Block *, int operation, void *counter, uint64_t amount);
size_t qemu_plugin_tb_n_insns(const Block *);
uint64_t qemu_plugin_tb_vaddr(const Block *);
Instruction *qemu_plugin_tb_get_insn(const Block *, size_t);
const void *qemu_plugin_insn_data(const Instruction *);
size_t qemu_plugin_insn_size(const Instruction *);

EXPORT int qemu_plugin_version = 1;

// A block of instructions at an address. QEMU may translate the same one many times; they share a counter.
typedef struct Counter {
  uint64_t executions, address;
  struct Counter *next;
  char *code;
} Counter;

static Counter *counters[BUCKETS];
static const char *path;
static int64_t getpriority_number;

static char *code_of(const Block *block) {
  size_t count = qemu_plugin_tb_n_insns(block);
  char *code = malloc(count * (2 * LONGEST + 1) + 1), *end = code;
  for (size_t i = 0; i < count; i++) {
    const Instruction *instruction = qemu_plugin_tb_get_insn(block, i);
    const uint8_t *bytes = qemu_plugin_insn_data(instruction);
    size_t size = qemu_plugin_insn_size(instruction);
    *end++ = ' ';
    for (size_t k = 0; k < size && k < LONGEST; k++) end += sprintf(end, "%02x", bytes[k]);
  }
  *end = '\0';
  return code;
}

static Counter *counter_of(uint64_t address, char *code) {
  Counter **first = &counters[(address >> 2 ^ address >> 18) % BUCKETS];
  for (Counter *c = *first; c; c = c->next)
    if (c->address == address && !strcmp(c->code, code)) {
      free(code);
      return c;
    }
  Counter *made = malloc(sizeof *made);
  *made = (Counter){.address = address, .next = *first, .code = code};
  return *first = made;
}

static void translated(Id id, Block *block) {
  Counter *counter = counter_of(qemu_plugin_tb_vaddr(block), code_of(block));
  qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, &counter->executions, 1);
}

static void forget(void) {
  for (size_t i = 0; i < BUCKETS; i++)
    for (Counter *c = counters[i]; c; c = c->next) c->executions = 0;
}

static void append(uint64_t number) {
  FILE *file = fopen(path, "a");
  if (!file) {
    perror(path);
    exit(1);
  }
  fprintf(file, "mark %" PRIu64 "\n", number);
  for (size_t i = 0; i < BUCKETS; i++)
    for (Counter *c = counters[i]; c; c = c->next)
      if (c->executions) fprintf(file, "%" PRIu64 " %" PRIx64 "%s\n", c->executions, c->address, c->code);
  if (fclose(file)) {
    perror(path);
    exit(1);
  }
}

static void called(Id id, unsigned cpu, int64_t number, uint64_t kind, uint64_t mark, uint64_t a3, uint64_t a4, uint64_t a5,
                   uint64_t a6, uint64_t a7, uint64_t a8) {
  if (number != getpriority_number || kind != MAGIC) return;
  if (mark) append(mark);
  else forget();
}

// `info` begins with the name of the emulated machine.
EXPORT int qemu_plugin_install(Id id, const char *const *info, int argc, char **argv) {
  getpriority_number = strcmp(*info, "x86_64") ? 141 : 140;
  for (int i = 0; i < argc; i++)
    if (!strncmp(argv[i], "out=", 4)) path = strdup(argv[i] + 4);
  if (!path) {
    fprintf(stderr, "counter.so needs out=FILE.\n");
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  return 0;
}
