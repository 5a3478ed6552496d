# The smallest installer: the boot code of a CD, which writes what follows it, a boot sector of 512 bytes, to the first disk, says
# `vmrun-cd: installed` on COM1 and resets the machine. Assembled by tests/end_to_end/media_test.sh, as 32-bit code linked at 0.
        .code16
        .globl  _start

        .set    COM1, 0x3f8
        .set    RESET, 0xcf9            # the chipset's reset register: 2, then 6, is a cold one

_start: pushw   %cs
        popw    %ds
        pushw   %cs
        popw    %es
        cld
        call    here                    # the firmware may load this at 0:7c00 or 7c0:0
here:   popw    %bp
        subw    $here - _start, %bp
        movw    $0x0301, %ax            # INT 13h: write one sector
        movw    $0x0001, %cx            # cylinder 0, sector 1
        movw    $0x0080, %dx            # of head 0 of the first disk
        leaw    512(%bp), %bx
        int     $0x13
        leaw    good - _start(%bp), %si
        jnc     next
        leaw    bad - _start(%bp), %si
next:   lodsb
        testb   %al, %al
        jz      done
        movw    $COM1, %dx
        outb    %al, %dx
        jmp     next
done:   movw    $RESET, %dx
        movb    $2, %al
        outb    %al, %dx
        movb    $6, %al
        outb    %al, %dx
stop:   hlt
        jmp     stop

good:   .asciz  "vmrun-cd: installed\r\n"
bad:    .asciz  "vmrun-cd: no disk to install on\r\n"
        .org    512
