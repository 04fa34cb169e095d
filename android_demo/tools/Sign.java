import com.android.apksig.ApkSigner;
import com.android.apksig.ApkVerifier;
import com.android.apksig.KeyConfig;
import java.io.File;
import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.Collections;

/** Signs a package with the debug key, and checks the signature: Sign KEYSTORE UNSIGNED SIGNED MIN_SDK. */
class Sign {
    public static void main(String[] arguments) throws Exception {
        char[] password = "android".toCharArray(); // the debug key's everywhere
        int minSdk = Integer.parseInt(arguments[3]);
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (FileInputStream file = new FileInputStream(arguments[0])) {
            store.load(file, password);
        }
        String alias = store.aliases().nextElement();
        PrivateKey key = (PrivateKey) store.getKey(alias, password);
        X509Certificate certificate = (X509Certificate) store.getCertificate(alias);
        new ApkSigner.Builder(Collections.singletonList(
                new ApkSigner.SignerConfig.Builder(alias, new KeyConfig.Jca(key), Collections.singletonList(certificate)).build()))
            .setInputApk(new File(arguments[1]))
            .setOutputApk(new File(arguments[2]))
            .setMinSdkVersion(minSdk)
            .setAlignmentPreserved(true)
            .build().sign();
        ApkVerifier.Result result = new ApkVerifier.Builder(new File(arguments[2])).setMinCheckedPlatformVersion(minSdk).build().verify();
        if (!result.isVerified() || result.containsErrors()) {
            System.err.println(result.getAllErrors());
            System.exit(1);
        }
        System.out.printf("v2 %b, v3 %b%n", result.isVerifiedUsingV2Scheme(), result.isVerifiedUsingV3Scheme());
    }
}
