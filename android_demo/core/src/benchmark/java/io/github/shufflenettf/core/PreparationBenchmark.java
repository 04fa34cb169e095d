package io.github.shufflenettf.core;

import java.nio.ByteBuffer;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** Converts a camera frame of 1280 x 720 pixels to a network's input of 224 x 224: core, and two plain loops. */
@State(Scope.Thread)
@BenchmarkMode(Mode.SampleTime) // percentiles are more robust than means if other programs run
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Fork(1)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class PreparationBenchmark {
    private static final int WIDTH = 1280;
    private static final int HEIGHT = 720;
    private static final int SIDE = 224;

    @Param({"0", "90"})
    public int rotation;

    private final FrameResizer resizer = new FrameResizer(new Preprocessing(), SIDE, SIDE);
    private YuvFrame frame;
    private PlainLoop plain;

    @Setup
    public void setup() {
        ByteBuffer memory = ByteBuffer.allocateDirect(WIDTH * HEIGHT * 3 / 2);
        byte[] noise = new byte[memory.capacity()];
        new Random(0).nextBytes(noise);
        for (int i = 0; i < noise.length; i++) noise[i] = (byte) (noise[i] / 4 + i % 97);
        memory.put(noise);
        frame = YuvFrame.nv21(memory, WIDTH, HEIGHT, YuvRange.FULL);
        plain = new PlainLoop(memory, WIDTH, HEIGHT, rotation, SIDE);
        checkThatBothAreTheSamePicture();
    }

    private void checkThatBothAreTheSamePicture() {
        resizer.resize(frame, rotation);
        byte[] expected = plain.convertEachTime();
        for (int i = 0; i < expected.length; i++) {
            int difference = (expected[i] & 0xff) - (resizer.getPixels()[i] & 0xff);
            if (Math.abs(difference) > 1) throw new AssertionError("byte " + i + " differs by " + difference);
        }
    }

    /** The app's conversion. */
    @Benchmark
    public byte[] ours() {
        resizer.resize(frame, rotation);
        return resizer.getPixels();
    }

    /** Converts each pixel under the kernel when it is read. */
    @Benchmark
    public byte[] plainLoop() {
        return plain.convertEachTime();
    }

    /** First converts all pixels to an array. */
    @Benchmark
    public byte[] plainLoopsOneAfterTheOther() {
        return plain.convertBefore();
    }
}
