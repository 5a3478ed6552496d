// How a guest is reached, from what its plan says, and the words for ssh.
#include "launcher/guest/access.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <string>

#include "launcher/guest/route.hpp"
#include "launcher/guest/ssh.hpp"
#include "launcher/guest/view.hpp"

namespace {

using namespace launcher;

Access access(const std::string& plan) { return access_of("db", boost::json::parse(plan)); }

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::ranges::find(words, word) != words.end();
}

}  // namespace

TEST_CASE("ways in, from a plan") {
  const Access found = access(R"({"args": [
    {"option": "-netdev", "value": "user,id=net0-host,restrict=on,hostfwd=udp:127.0.0.1:22-:22,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp::2223-:22,hostfwd=tcp::80-:8022"},
    {"option": "-device", "value": "virtio-net-pci,id=net0,netdev=net0-host,addr=10,mac=52:54:00:01:02:03,packed=on"},
    {"option": "-device", "value": "vhost-vsock-pci,id=vsock0,addr=03.3,guest-cid=77,vhostfd=12"},
    {"option": "-device", "value": "virtserialport,bus=agent-bus.0,nr=1,chardev=agent,name=org.qemu.guest_agent.0"}],
    "steps": [{"step": {"keep_ssh_keys": {"directory": "/s/db/ssh", "vm": "db", "user": "ann"}}},
      {"step": {"start_helper": {"role": "passt net1", "child": {"argv":
        ["passt", "--fd", "3", "-u", "5:22", "-t", "::1/2300:22", "-t", "2400-2410:20-30", "-t", "80:80"]}}}}]})");
  CHECK(found.user == "ann");
  CHECK(found.keys == "/s/db/ssh");
  CHECK(found.cid == 77u);
  CHECK(found.agent);
  CHECK(found.macs == std::vector<std::string>{"52:54:00:01:02:03"});
  CHECK(found.forwarded ==
        std::vector<Endpoint>{{"127.0.0.1", 2222}, {"127.0.0.1", 2223}, {"::1", 2300}, {"127.0.0.1", 2402}});
}

TEST_CASE("a plan that says nothing of it, or nonsense, has no ways in") {
  for (const char* plan :
       {"{}", "7", R"({"args": 7, "steps": {}})", R"({"args": [{}, 7], "steps": [7, {"step": 7}]})",
        R"({"steps": [{"step": {"start_helper": {"role": "passt", "child": {"argv": ["-t"]}}}}]})"}) {
    INFO(std::string(plan));
    const Access found = access(plan);
    CHECK(found.forwarded.empty());
    CHECK(found.keys.empty());
    CHECK(!found.cid);
  }
}

TEST_CASE("neighbours by their MAC, complete ones only") {
  const char* arp =
      "IP address       HW type     Flags       HW address            Mask     Device\n"
      "192.168.7.12     0x1         0x2         52:54:00:01:02:03     *        br0\n"
      "192.168.7.13     0x1         0x0         52:54:00:01:02:03     *        br0\n"
      "192.168.7.14     0x1         0x2         52:54:00:01:02:04     *        br0\n";
  CHECK(neighbours(arp, {"52:54:00:01:02:03"}) == std::vector<std::string>{"192.168.7.12"});
  CHECK(neighbours("", {"52:54:00:01:02:03"}).empty());
}

TEST_CASE("ssh is asked nothing, and trusts nothing that is not known") {
  Access one;
  one.vm = "db";
  one.keys = "/s/a b/ssh";
  const Route forwarded{std::nullopt, {"127.0.0.1", 2222}};
  const auto words = ssh_argv(one, forwarded, "/usr/bin/vmrun", "ann", {"uname", "-r"});
  CHECK(contains(words, "StrictHostKeyChecking=yes"));
  CHECK(contains(words, "UserKnownHostsFile=\"/s/a b/ssh/known_hosts\""));
  CHECK(contains(words, "HostKeyAlias=vmrun-db"));
  CHECK(contains(words, "Port=2222"));
  CHECK(std::vector<std::string>(words.end() - 6, words.end()) ==
        std::vector<std::string>{"-l", "ann", "--", "127.0.0.1", "uname", "-r"});
  const Route by_vsock{77u, {}};
  CHECK(contains(ssh_argv(one, by_vsock, "/opt/it's 100%/vmrun", "ann", {}),
                 "ProxyCommand='/opt/it'\\''s 100%%/vmrun' 'ssh' '--bridge' 'db'"));
}

TEST_CASE("scp has the guest's paths at the guest's address, and no local path is taken for one") {
  Access one;
  one.vm = "db";
  one.keys = "/s";
  const auto tail = [&](const Route& route, const std::vector<std::string>& paths) {
    const auto words = scp_argv(one, route, "vmrun", "ann", paths);
    return std::vector<std::string>(words.end() - 3, words.end());
  };
  CHECK(tail({std::nullopt, {"10.0.0.7", 22}}, {"db:/etc/fstab", "a:b"}) ==
        std::vector<std::string>{"--", "ann@10.0.0.7:/etc/fstab", "./a:b"});
  CHECK(tail({std::nullopt, {"fd00::7", 22}}, {"/x:y", "db:"}) ==
        std::vector<std::string>{"--", "/x:y", "ann@[fd00::7]:"});
}

TEST_CASE("words for a shell are the same words again") {
  CHECK(quoted_for_sh({"a b", "it's", "$x"}) == "'a b' 'it'\\''s' '$x'");
}

TEST_CASE("where the screen is, and what shows it") {
  const auto screen = [](const std::string& value) {
    return screen_of(boost::json::parse(R"({"args": [{"option": "-display", "value": "none"},
      {"option": "-vnc", "value": ")" + value +
                                        "\"}]}"));
  };
  CHECK(screen("unix:/run/vmrun/db/display/vnc.sock") == "unix:/run/vmrun/db/display/vnc.sock");
  CHECK(screen("127.0.0.1:1,password-secret=vnc-password") == "127.0.0.1:5901");
  CHECK(screen("[::]:2") == "[::1]:5902");
  CHECK(!screen("none"));
  CHECK(!screen_of(boost::json::parse("{}")));
  CHECK(viewers("127.0.0.1:5901").at(1) == Viewer{"vncviewer", {"127.0.0.1::5901"}});
  CHECK(viewers("unix:/a").at(0) == Viewer{"remote-viewer", {"vnc+unix:///a"}});
}
