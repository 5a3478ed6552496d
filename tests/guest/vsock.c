// For the test guest, whose busybox knows no AF_VSOCK.
//   vsock echo PORT    says this guest's own CID, then sends back what each caller sends
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int failed(const char *what) {
    perror(what);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 3 || strcmp(argv[1], "echo") != 0) return 2;
    unsigned cid = 0;
    int device = open("/dev/vsock", O_RDONLY);
    if (device < 0 || ioctl(device, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0) return failed("/dev/vsock");
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_port = (unsigned)atoi(argv[2]), .svm_cid = VMADDR_CID_ANY};
    int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4) < 0)
        return failed("listen");
    printf("guest: vsock cid=%u port=%s\n", cid, argv[2]);
    fflush(stdout);
    for (;;) {
        int caller = accept(listener, NULL, NULL);
        if (caller < 0) return failed("accept");
        char bytes[4096];
        for (ssize_t got; (got = read(caller, bytes, sizeof bytes)) > 0;)
            if (write(caller, bytes, (size_t)got) != got) break;
        close(caller);
    }
}
