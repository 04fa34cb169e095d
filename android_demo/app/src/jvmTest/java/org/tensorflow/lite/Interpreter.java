package org.tensorflow.lite;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The interpreter for tests on the JVM, where TensorFlow Lite's own native library doesn't load: it has LiteRT in Python run
 * the model (tools/interpret.py). On the class path it stands before the real class, whose methods that the app calls it has.
 */
public final class Interpreter implements AutoCloseable {
    public static final AtomicInteger MADE = new AtomicInteger();
    public static final AtomicInteger CLOSED = new AtomicInteger();

    private final Process process;
    private final DataOutputStream requests;
    private final DataInputStream answers;

    public Interpreter(ByteBuffer model, Options options) {
        MADE.incrementAndGet();
        try {
            process = new ProcessBuilder(System.getProperty("interpreter").split(" "))
                .redirectError(ProcessBuilder.Redirect.INHERIT).start();
            requests = new DataOutputStream(process.getOutputStream());
            answers = new DataInputStream(process.getInputStream());
            send(model.duplicate());
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }

    private void send(ByteBuffer content) throws IOException {
        byte[] bytes = new byte[content.remaining()];
        content.get(bytes);
        requests.writeInt(bytes.length);
        requests.write(bytes);
        requests.flush();
    }

    public void runForMultipleInputsOutputs(Object[] inputs, Map<Integer, Object> outputs) {
        try {
            send(((ByteBuffer) inputs[0]).duplicate());
            byte[] answer = new byte[answers.readInt()];
            answers.readFully(answer);
            ((ByteBuffer) outputs.get(0)).put(answer);
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }

    @Override
    public void close() {
        CLOSED.incrementAndGet();
        process.destroy();
    }

    public static class Options {
        public Options setNumThreads(int count) {
            return this;
        }

        public Options setUseXNNPACK(boolean use) {
            return this;
        }

        public Options addDelegate(Delegate delegate) {
            return this;
        }
    }
}
