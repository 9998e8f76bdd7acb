/* Copies its input to its output: copier -i INPUT -o OUTPUT. It reads what there is and knows of no blocks. */
#include <fcntl.h>
#include <unistd.h>

int main(int count, char **words) {
    static char buffer[1 << 20];
    if (count != 5) return 2;
    int input = open(words[2], O_RDONLY), output = open(words[4], O_WRONLY);
    if (input < 0 || output < 0) return 3;
    for (;;) {
        ssize_t size = read(input, buffer, sizeof buffer);
        if (size <= 0) return size < 0;
        for (ssize_t done = 0; done < size;) {
            ssize_t written = write(output, buffer + done, size - done);
            if (written < 0) return 4;
            done += written;
        }
    }
}
