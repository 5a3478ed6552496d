// See set_id_filter.hpp; the program is classic BPF over struct seccomp_data (man 2 seccomp).
#include "launcher/host/set_id_filter.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace launcher::inline host {

namespace {

constexpr std::uint32_t set_id_bits = 06000, makes_file = 0100 | 020000000;  // O_CREAT, and the bit of O_TMPFILE alone
constexpr std::uint32_t pass = SECCOMP_RET_ALLOW, refused = SECCOMP_RET_ERRNO | EPERM;
constexpr std::uint32_t unknown = SECCOMP_RET_ERRNO | ENOSYS;

#ifndef SYS_fchmodat2
constexpr std::uint32_t SYS_fchmodat2 = 452;
#endif

sock_filter load(std::uint32_t offset) { return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset); }
sock_filter load_argument(unsigned number) {  // the lower half: x86-64 is little-endian
  return load(static_cast<std::uint32_t>(offsetof(seccomp_data, args) + number * sizeof(std::uint64_t)));
}
sock_filter give(std::uint32_t answer) { return BPF_STMT(BPF_RET | BPF_K, answer); }

class Program {
 public:
  Program() {
    code_ = {load(offsetof(seccomp_data, arch)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
             give(refused)};  // 32-bit calls have other numbers
  }
  void refuse_mode(std::uint32_t call, unsigned argument) {
    begin(call, 4);
    test(argument);
  }
  // The mode counts only where the flags say that a file is made.
  void refuse_mode_of_new(std::uint32_t call, unsigned flags, unsigned argument) {
    begin(call, 7);
    code_.push_back(load_argument(flags));
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, makes_file, 1, 0));
    code_.push_back(give(pass));
    test(argument);
  }
  // Its arguments lie in memory, where they cannot be seen: it is as good as not there, and its users know others.
  void hide(std::uint32_t call) {
    begin(call, 1);
    code_.push_back(give(unknown));
  }
  bool install() {
    code_.push_back(give(pass));
    const sock_fprog program{static_cast<unsigned short>(code_.size()), code_.data()};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
  }

 private:
  void begin(std::uint32_t call, std::uint8_t length) {
    code_.push_back(load(offsetof(seccomp_data, nr)));
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, length));
  }
  void test(unsigned argument) {
    code_.push_back(load_argument(argument));
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, set_id_bits, 0, 1));
    code_.push_back(give(refused));
    code_.push_back(give(pass));
  }
  std::vector<sock_filter> code_;
};

}  // namespace

bool refuse_set_id_modes() {
  Program program;
  program.refuse_mode(SYS_chmod, 1);
  program.refuse_mode(SYS_fchmod, 1);
  program.refuse_mode(SYS_fchmodat, 2);
  program.refuse_mode(SYS_fchmodat2, 2);
  program.refuse_mode(SYS_creat, 1);
  program.refuse_mode(SYS_mknod, 1);
  program.refuse_mode(SYS_mknodat, 2);
  program.refuse_mode_of_new(SYS_open, 1, 2);
  program.refuse_mode_of_new(SYS_openat, 2, 3);
  for (const std::uint32_t call : {SYS_openat2, SYS_io_uring_setup}) program.hide(call);
  return program.install();
}

}  // namespace launcher::host
